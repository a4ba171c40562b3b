"""Every index, one module per collection, each beside the query it serves; `ensure` creates and reports drift."""
