"""The openai engine: a model that a server runs, asked over HTTP as api.openai.com is asked."""
