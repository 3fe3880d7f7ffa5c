"""The configuration of a model that brings its own code, as TeleChat3 does."""

from transformers import PretrainedConfig


class TinyChatConfig(PretrainedConfig):
    """Sizes of a small transformer under names of its own."""

    model_type = "tinychat"
    keys_to_ignore_at_inference = ("past_key_values",)
    attribute_map = {"num_hidden_layers": "n_layer", "num_attention_heads": "n_head"}  # noqa: RUF012

    def __init__(self, vocab_size=512, hidden_size=64, n_layer=2, n_head=4, ffn_hidden_size=128, **kwargs):
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.n_layer = n_layer
        self.n_head = n_head
        self.ffn_hidden_size = ffn_hidden_size
        super().__init__(**kwargs)
