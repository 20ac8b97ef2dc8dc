"""The operator: the definition that everything else is held against."""
