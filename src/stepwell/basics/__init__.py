"""What every layer may use: errors, tenants, URLs, spelling, data URIs, values of settings. Nothing does I/O."""
