"""The configuration: typed models, reading with clear errors, generated schema and documentation."""
