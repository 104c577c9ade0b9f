"""The functions behind `import handgen`; docs/api.md is made from their docstrings. This package is private."""
