"""`workyard sessions`: what is on record, and what its owner may do with it."""

import typer

from orchestrator.cli.sessions import changing, forking, listing, running, showing, transfer

app = typer.Typer(help="The sessions on record.", no_args_is_help=True)

app.command("list")(listing.list_sessions)
app.command("show")(showing.show)
app.command("follow")(showing.follow)
app.command("fork")(forking.fork)
app.command("resume")(running.resume)
app.command("cancel")(running.cancel)
app.command("rename")(changing.rename)
app.command("delete")(changing.delete)
app.command("export")(transfer.export)
app.command("import")(transfer.import_session)
app.add_typer(changing.state, name="state")
