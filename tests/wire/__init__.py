"""Local servers that speak the wire formats of the model providers, for tests of the whole path.

A test writes a script, serves it on 127.0.0.1 and lets Pydantic AI's own provider classes talk:

    wire = Wire([Call("read_file", {"path": "a.md"}), Say("It holds a poem.")])
    async with serve(wire) as base_url:  # `with serving(wire)` in a test that is not async
        ...  # `MODELS["anthropic"](base_url)`, or a subprocess with `environment(...)`
    assert wire.requests[1].tool_results == ("a poem",)

One server answers in every format at once. For a subprocess these variables are enough, each row
proved by `test_environment.py`; `environment(provider, base_url)` returns them:

| model name      | variables                                     | what it then speaks            |
|-----------------|-----------------------------------------------|--------------------------------|
| `openai:`       | OPENAI_BASE_URL=URL/v1, OPENAI_API_KEY        | Responses                      |
| `openai-chat:`  | the same                                      | Chat Completions               |
| `ollama:`       | OLLAMA_BASE_URL=URL/v1 (OLLAMA_API_KEY)       | Chat Completions               |
| `anthropic:`    | ANTHROPIC_BASE_URL=URL, ANTHROPIC_API_KEY     | Messages                       |
| `google:`       | GOOGLE_GEMINI_BASE_URL=URL, GOOGLE_API_KEY    | generateContent of v1beta      |
| `google-cloud:` | GOOGLE_VERTEX_BASE_URL=URL, GOOGLE_API_KEY    | the same of v1beta1, without a |
|                 |                                               | project ("express mode")       |
| `google-cloud:` | GOOGLE_VERTEX_BASE_URL=URL,                   | the same under projects/.../   |
|                 | GOOGLE_APPLICATION_CREDENTIALS=a file,        | locations/..., with the token  |
|                 | GOOGLE_CLOUD_PROJECT, GOOGLE_CLOUD_LOCATION   | that its `token_uri` grants    |

`gateway/...:` is led here by PYDANTIC_AI_GATEWAY_BASE_URL=URL/gateway and a
PYDANTIC_AI_GATEWAY_API_KEY, and speaks what the provider behind it speaks.

NO_PROXY=127.0.0.1 besides, where the machine has an HTTP proxy. The provider `google-cloud` reads
GOOGLE_APPLICATION_CREDENTIALS first, then GOOGLE_API_KEY, then GEMINI_API_KEY; without any it asks
Google's metadata server, which is on another machine. GOOGLE_CLOUD_PROJECT and
GOOGLE_CLOUD_LOCATION (us-central1 by default) count only where no API key does; without a project,
GOOGLE_VERTEX_BASE_URL gets a POST to its bare path.

Close each agent (`async with agent:`), or its idle connections end as ResourceWarnings, which fail
a test here.
"""
