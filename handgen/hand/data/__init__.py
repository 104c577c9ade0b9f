"""The bundled open hand; see PROVENANCE.md."""
