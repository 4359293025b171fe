"""The input of a step: task configs, JMESPath expressions, transforms, and mappings from results."""
