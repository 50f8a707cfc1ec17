"""Messages between a decoder process and its caller.

A request is a number of files and their lengths, each a `LENGTH`, and the files. Replies come in
their order, and each begins with a `HEADER`: a kind and two numbers. Before the reply on a large
image comes LARGE; the caller sends a byte when it may be decoded.
"""

import struct

LENGTH = struct.Struct("<Q")
HEADER = struct.Struct("<cII")
PIXELS = b"p"  # height and width; the pixels follow
IN_MEMORY = b"m"  # height and width; a file descriptor of the pixels comes with it
REASON = b"r"  # its bytes; the reason why there are no pixels follows
LARGE = b"l"
OUT_OF_MEMORY = 3  # exit code of a process that cannot hold the files
