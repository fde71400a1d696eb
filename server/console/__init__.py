"""The web console at `/console`: pages for people, made of what the API answers.

To add a page:

1. Write `server/console/NAME.py`: a function (Request) -> Answer for each call, which gets its
   data from `request.api`, and `PAGES`, the calls with their paths and scopes.
2. Write `server/console/templates/NAME.html`, which extends `base.html` and uses `macros.html`.
3. Add the module to the list in `pages.py`. The navigation shows it if its path is listed there.
4. Add an address of it to `PAGES` in `tests/server/console/conftest.py`: all checks run on it.
"""
