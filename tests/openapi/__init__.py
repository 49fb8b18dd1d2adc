"""What both doors take and answer, as OpenAPI: made from the very types that read the bodies, and from words here.

`python -m tests.openapi` writes docs/openapi/agent.json and collector.json.
"""
