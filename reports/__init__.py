"""How results look: templates and style sheet."""
