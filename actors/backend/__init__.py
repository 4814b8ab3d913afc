"""The backend: one actor that serialises all store I/O, and the stores behind it."""
