//! Health: which regions are well.
