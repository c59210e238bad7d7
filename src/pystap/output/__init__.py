"""What handlers print: format descriptions, the record format, and the two formatters."""
