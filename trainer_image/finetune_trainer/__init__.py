"""The program in the container: train.yaml in LLaMA-Factory's keys in, a trained model out.

Law: `config` and `records` are the contract with the operator and import no torch. The rest is a one-way flow
(docs/architecture.md): config -> data -> template -> collate -> stages -> train -> artifacts.
"""
