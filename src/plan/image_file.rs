//! What an image file is, by what was found in it and beside it.
