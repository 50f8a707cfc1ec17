"""Names of the causes of stuck accuracy."""

LAGGING, WEAK_HEAD = "lagging head BatchNorm", "weak head"
OVERFITTING, FEATURES = "overfitting", "limit of the features"

SCALED_INPUT, IMAGE_SIZE = "scaled input", "image size"

CAUSE = "wrong labels"

LEAK, CONFLICTS, IMBALANCE = "leak", "conflicting labels", "class imbalance"

BATCHNORM_IN_TRAINING = "BatchNorm in training mode"
