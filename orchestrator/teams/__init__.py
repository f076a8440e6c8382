"""Agents that let other agents work for them: who may ask whom, with what rights, at whose cost."""
