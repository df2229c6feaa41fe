# SPDX-License-Identifier: Apache-2.0
"""The embedded metric store: one SQLite file, one writer, any number of readers.

`writer.Writer` appends and keeps the file bounded; `reader.Reader` answers. Neither the samples
given nor those returned show the layout, which `schema` describes.
"""
