// The TypeScript SDK's client, 1.x in the era of before 2026-07-28 and 2.x in either:
// node --input-type=module -e PROGRAM SERVER ERA MAJOR, from where both are installed. See contract.py.

const [given, era, major] = process.argv.slice(-3);
const server = JSON.parse(given);
const CALL = { name: "read_file", arguments: { path: "README.md" } };
const PROMPT = { name: "run_agent", arguments: { agent: "repo_guide", task: "Where are prices added?" } };

async function loaded() {
  if (major === "2") {
    const core = await import("@modelcontextprotocol/client");
    return { ...core, ...(await import("@modelcontextprotocol/client/stdio")) };
  }
  const sdk = "@modelcontextprotocol/sdk/client";
  return {
    ...(await import(`${sdk}/index.js`)),
    ...(await import(`${sdk}/stdio.js`)),
    ...(await import(`${sdk}/streamableHttp.js`)),
  };
}

const { Client, StdioClientTransport, StreamableHTTPClientTransport } = await loaded();
const headers = server.token ? { Authorization: `Bearer ${server.token}` } : {};
const transport = server.url
  ? new StreamableHTTPClientTransport(new URL(server.url), { requestInit: { headers } })
  : new StdioClientTransport({ command: server.command[0], args: server.command.slice(1), env: server.env });
const client = new Client({ name: "typescript", version: major }, { versionNegotiation: { mode: era } });
await client.connect(transport);

const ref = { type: "ref/prompt", name: PROMPT.name };
const completed = await client.complete({ ref, argument: { name: "agent", value: "repo" } });
const found = {
  protocol: client.getNegotiatedProtocolVersion?.() ?? transport.protocolVersion ?? "",
  tools: (await client.listTools()).tools.map((each) => each.name),
  call: (await client.callTool(CALL)).content[0].text,
  prompts: (await client.listPrompts()).prompts.map((each) => each.name),
  prompt: (await client.getPrompt(PROMPT)).messages[0].content.text,
  completion: completed.completion.values,
  resources: (await client.listResources()).resources.map((each) => each.uri),
  read: (await client.readResource({ uri: "workspace:///README.md" })).contents[0].text,
};
console.log(JSON.stringify(found));
await client.close();
