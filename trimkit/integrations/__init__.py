"""Penalties in other people's training loops: Lightning and Hugging Face. Each module is imported only when asked for.

`trimkit.integrations.lightning.TrimCallback` needs ``pip install 'trimkit[lightning]'``, and
`trimkit.integrations.huggingface.TrimTrainerMixin` needs ``pip install 'trimkit[huggingface]'``.
"""
