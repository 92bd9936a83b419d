"""socketify: uWebSockets with handlers in Python."""

from settings import HOST, MAX_SIZE, port
from socketify import App, AppListenOptions, CompressOptions

app = App()
app.ws(
    "/*",
    {
        "compression": CompressOptions.DISABLED,
        "max_payload_length": MAX_SIZE,
        "max_backpressure": 2 * MAX_SIZE,
        "idle_timeout": 0,
        "message": lambda ws, message, opcode: ws.send(message, opcode),
    },
)
app.listen(AppListenOptions(port=port, host=HOST), lambda config: None)
app.run()
