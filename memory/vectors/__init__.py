"""Vector memory: a Chroma collection per tenant and kind, opened by the agents worker only.

`recall.py` is what others use. Only `collections.py` and `chroma_embedding.py` import Chroma, and
they do it when a store is opened, so that importing this package stays cheap.
"""
