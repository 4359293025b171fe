"""Helpers that several test modules share. Where to look:

- `service`: the whole service in the test's own event loop, and what tests do with it over HTTP.
- `processes`: `stepwell` as a real process, started, watched and killed from outside.
- `browser`: Chromium, and the web page in it.
- `database`: PostgreSQL servers, databases and stored workflows.
- `emulators`: HTTP servers that behave like the providers' APIs, S3, and receivers of webhooks.
- `providers`: providers for tests: scripted ones, and the real ones with their emulators.
- `workflows`: definitions of workflows.
- `examples`: how many examples hypothesis draws.
- `soaks`: whether runs of hours are asked for.
- `repeated_runs`: a program that repeats tests beside busy processes.
- `generated`: the list of what is generated, and the program of `poe generate`.
- `plug_in`: a package that brings two providers.
- `snapshots`: what others see of the service, as recorded in `tests/snapshots`, and the command that renews that.
- `step_costs`: a program that counts what a step costs.
- `house_measures`: a program that prints the measures of the code, and the limits of some.
- `documents`: README and manual: their blocks of code, and the tables that are generated.
"""
