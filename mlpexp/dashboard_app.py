"""MLflow's server with one page more, `/start`, which `mlpexp ui` opens: an application of the kind that MLflow lets
other packages bring (entry point `mlflow.app`). Only that server imports this.

Flow: mlpexp ui → mlflow server --app-name mlpexp → **dashboard_app** → the page after `#`.

MLflow's page keeps its settings in the browser, for each address anew: it begins with its side for language models, and
unfolds a chat. The start page says what a person would otherwise click away, where nothing is said yet. MLflow's page
also asks who is logged in, and calls it an error in the browser's console where nothing answers; here: nobody is.
"""

from mlflow.server.fastapi_app import app
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route

SETTINGS = {"mlflow.workflowType_v1": '"machine_learning"', "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true"}
"""As MLflow 3.17 spells them; another version does not look at them."""

PAGE = f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>mlpexp</title></head><body><script>
for (const [key, value] of Object.entries({SETTINGS}))
  if (localStorage.getItem(key) === null) localStorage.setItem(key, value);
location.replace("./" + location.hash);
</script></body></html>
"""


async def start(_: Request) -> HTMLResponse:
    """The page that sets the settings and goes on."""
    return HTMLResponse(PAGE)


async def nobody(_: Request) -> JSONResponse:
    """Who is logged in: a server without a login has no users."""
    return JSONResponse({"user": None})


MORE = [Route("/start", start), Route("/ajax-api/2.0/mlflow/users/current", nobody)]
app.router.routes[:0] = MORE  # MLflow's own page answers to everything that follows
