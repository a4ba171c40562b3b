"""Looking after indexes while everything goes on: building, judging by use, hiding and dropping."""
