"""A model that brings its own code, in the manner of TeleChat's: fused key_value, a forward that takes `labels` and
knows no `num_items_in_batch`, gradient checkpointing of its own making."""

import torch
from torch import nn
from torch.nn import functional
from transformers import GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from .configuration_tinychat import TinyChatConfig


class TinyChatBlock(nn.Module):
    """Attention and feed-forward, each after a norm."""

    def __init__(self, config):
        super().__init__()
        self.n_head = config.n_head
        self.input_layernorm = nn.LayerNorm(config.hidden_size)
        self.query = nn.Linear(config.hidden_size, config.hidden_size, bias=False)
        self.key_value = nn.Linear(config.hidden_size, 2 * config.hidden_size, bias=False)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.post_attention_layernorm = nn.LayerNorm(config.hidden_size)
        self.up_proj = nn.Linear(config.hidden_size, config.ffn_hidden_size, bias=False)
        self.down_proj = nn.Linear(config.ffn_hidden_size, config.hidden_size)

    def forward(self, hidden, mask):
        rows, length, width = hidden.shape
        normed = self.input_layernorm(hidden)
        key, value = self.key_value(normed).chunk(2, dim=-1)
        heads = [part.view(rows, length, self.n_head, -1).transpose(1, 2) for part in (self.query(normed), key, value)]
        mixed = functional.scaled_dot_product_attention(*heads, attn_mask=mask)
        hidden = hidden + self.dense(mixed.transpose(1, 2).reshape(rows, length, width))
        return hidden + self.down_proj(functional.silu(self.up_proj(self.post_attention_layernorm(hidden))))


class TinyChatForCausalLM(PreTrainedModel, GenerationMixin):
    """Predicts the next token."""

    config_class = TinyChatConfig
    base_model_prefix = "transformer"
    supports_gradient_checkpointing = True
    _no_split_modules = ["TinyChatBlock"]  # noqa: RUF012

    def __init__(self, config):
        super().__init__(config)
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embeddings = nn.Embedding(1024, config.hidden_size)
        self.h = nn.ModuleList(TinyChatBlock(config) for _ in range(config.n_layer))
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.gradient_checkpointing = False
        self.post_init()

    def _init_weights(self, module):
        if isinstance(module, nn.Linear | nn.Embedding):
            module.weight.data.normal_(std=0.1)

    def get_input_embeddings(self):
        return self.word_embeddings

    def set_input_embeddings(self, value):
        self.word_embeddings = value

    def forward(self, input_ids=None, attention_mask=None, labels=None, return_dict=None):
        length = input_ids.shape[1]
        hidden = self.word_embeddings(input_ids) + self.position_embeddings.weight[:length]
        mask = torch.ones(length, length, dtype=torch.bool, device=input_ids.device).tril()[None, None]
        if attention_mask is not None:
            mask = mask & attention_mask[:, None, None, :].bool()
        mask = mask | torch.eye(length, dtype=torch.bool, device=input_ids.device)
        for block in self.h:
            if self.gradient_checkpointing and self.training:
                hidden = self._gradient_checkpointing_func(block.__call__, hidden, mask)
            else:
                hidden = block(hidden, mask)
        logits = self.lm_head(hidden)
        loss = None
        if labels is not None:
            loss = functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        return CausalLMOutput(loss=loss, logits=logits)
