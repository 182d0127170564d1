"""The embedded model: a deterministic expert system that speaks the chat-completions protocol.

It isn't a language model. It routes with a classifier fitted on the specialists' example
utterances and answers by their playbooks, so that the academy works with no model key. The same
messages always give the same answer.
"""
