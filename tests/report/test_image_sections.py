"""When there are heat maps."""

import pytest

from tuner.report import image_sections
from tuner.settings import SearchSettings


@pytest.mark.parametrize(("size", "places"), [(64, 2), (127, 3), (128, None)])
def test_a_heat_map_of_few_places_is_left_out(size: int, places: int | None) -> None:
    reason = image_sections._no_heat(SearchSettings(image_size=size, weights="none"), 4)
    assert (f"{places} x {places} places, too few" in reason) if places else not reason
