"""What `smshook` can be told, one module a subject; `server.cli` puts them together."""
