"""The commands by name. Each one's module is imported when it is called: start-up time counts."""

from __future__ import annotations

from importlib import import_module

import click

__all__ = ["app"]

# name: module, function
_COMMANDS = {
    "append": ("_building", "append"),
    "cancel": ("_transfers", "cancel"),
    "cat": ("_inside", "cat"),
    "commit": ("_building", "commit"),
    "completion": ("_completion", "completion"),
    "df": ("_usage", "df"),
    "digest": ("_remote", "digest"),
    "copy": ("_push", "copy"),
    "events": ("_events", "events"),
    "export": ("_archives", "export"),
    "gc": ("_usage", "gc"),
    "history": ("_history", "history"),
    "images": ("_images", "images"),
    "import": ("_archives", "import_"),
    "info": ("_system", "info"),
    "inspect": ("_inspect", "inspect"),
    "layers": ("_inside", "layers"),
    "load": ("_archives", "load"),
    "login": ("_login", "login"),
    "logout": ("_login", "logout"),
    "ls": ("_inside", "ls"),
    "manifest": ("_remote", "manifest"),
    "pin": ("_change", "pin"),
    "prune": ("_change", "prune"),
    "ps": ("_containers", "ls"),
    "pull": ("_pull", "pull"),
    "push": ("_push", "push"),
    "referrers": ("_remote", "referrers"),
    "resume": ("_pull", "resume"),
    "rmi": ("_change", "rmi"),
    "save": ("_archives", "save"),
    "search": ("_remote", "search"),
    "tag": ("_change", "tag"),
    "tags": ("_remote", "tags"),
    "transfers": ("_transfers", "transfers"),
    "unpin": ("_change", "unpin"),
    "untag": ("_change", "untag"),
    "version": ("_system", "version"),
    "watch": ("_pull", "watch"),
}
_OF_IMAGES = "history import inspect load pin prune pull push save tag unpin untag"
_IMAGE_COMMANDS = {
    **{name: _COMMANDS[name] for name in _OF_IMAGES.split()},
    "mount": ("_inside", "mount"),
    "ls": _COMMANDS["images"],
    "list": _COMMANDS["images"],
    "rm": _COMMANDS["rmi"],
    "remove": _COMMANDS["rmi"],
}
_OF_CONTAINERS = "create diff heartbeat inspect ls pause rm start stop unpause"
_CONTAINER_COMMANDS = {
    **{name: ("_containers", name) for name in _OF_CONTAINERS.split()},
    "commit": _COMMANDS["commit"],
    "export": _COMMANDS["export"],
    "list": ("_containers", "ls"),
    "ps": ("_containers", "ls"),
    "remove": ("_containers", "rm"),
}
_LEASE_COMMANDS = {
    **{name: ("_leases", name) for name in ("create", "inspect", "ls", "renew", "rm")},
    "list": ("_leases", "ls"),
    "remove": ("_leases", "rm"),
}
_SYSTEM_COMMANDS = {name: _COMMANDS[name] for name in ("df", "events", "gc", "info")}


class _LazyGroup(click.Group):
    def __init__(self, names: dict[str, tuple[str, str]], **options: str) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self._names = names

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # Without a word, help is what is wanted, as of docker.
        return super().parse_args(ctx, args or ["--help"])

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*self._names, *self.commands])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._names:
            return super().get_command(ctx, cmd_name)
        module, function = self._names[cmd_name]
        found = getattr(import_module(f"{__package__}.{module}"), function)
        assert isinstance(found, click.Command)
        return found


@click.pass_context
def _remember_address(ctx: click.Context, address: str | None) -> None:
    ctx.obj = address


app = _LazyGroup(_COMMANDS, name="imgctl", help="Talks to imgd, the container-image daemon.")
app.params.append(
    click.Option(
        ["--address"],
        metavar="ADDRESS",
        help="unix:PATH or HOST:PORT; by default IMGD_ADDRESS, else the daemon's own default.",
    )
)
app = click.version_option(None, "-v", "--version", package_name="imgd-client")(app)
app.context_settings = {"help_option_names": ["-h", "--help"]}
app.callback = _remember_address
app.add_command(_LazyGroup(_IMAGE_COMMANDS, name="image", help="The same, as `docker image`."))
app.add_command(
    _LazyGroup(_CONTAINER_COMMANDS, name="container", help="Registered uses of images.")
)
app.add_command(_LazyGroup(_LEASE_COMMANDS, name="lease", help="Holds that end by themselves."))
app.add_command(_LazyGroup(_SYSTEM_COMMANDS, name="system", help="The same, as `docker system`."))
