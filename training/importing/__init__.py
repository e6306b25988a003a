"""What labelling tools write, read into class folders.

The readers are our own, a page each. Datumaro reads all these formats too, but its current release
(1.13) pins OpenCV below 5 and Pillow below 13 and brings pandas, pyarrow and shapely: beside it,
training would decode pictures with another OpenCV than the line does. It also stops at the first
file it cannot read, or passes over it, where an engineer wants all of them named.
"""
