"""COMFYUI: graphs of a step on a ComfyUI server of the operator."""
