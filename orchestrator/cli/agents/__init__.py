"""`workyard agents`: which there are, and those that are kept on record."""

import typer

from orchestrator.cli.agents import defining, importing, looking, telling

app = typer.Typer(help="The agents there are.", no_args_is_help=True)

app.command("list")(looking.list_agents)
app.command("show")(looking.show)
app.command("validate")(looking.validate)
app.command("schema")(looking.schema)
app.command("create")(defining.create)
app.command("edit")(defining.edit)
app.command("import")(importing.import_agents)
app.command("rollback")(defining.rollback)
app.command("delete")(defining.delete)
app.command("versions")(telling.versions)
app.command("diff")(telling.diff)
app.command("export")(telling.export)
