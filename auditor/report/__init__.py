"""Views of an audit report, one module a medium. Rendering returns text; only the command line prints."""
