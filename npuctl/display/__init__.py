"""Progress for a person or for a machine; results as text or JSON."""
