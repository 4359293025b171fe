"""ComfyUI: graphs of the caller on a server of the operator."""
