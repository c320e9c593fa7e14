// The same request as text: for curl, Python and JavaScript.

const LONGEST = 24000;

/// Returns the three texts for a request.
export async function snippets(request, { hasKey }) {
  const url = new URL(request.path, location.origin).href;
  const content = await contentOf(request);
  return { curl: curl(url, content, hasKey), Python: python(url, content, hasKey), JavaScript: javascript(url, content, hasKey) };
}

/// Returns the body as a text, as base64, or, where it is long, as the name of a file.
async function contentOf({ body, type, name, json }) {
  if (typeof body === "string") return { type, text: body, json };
  if (body.size > LONGEST) return { type, file: name };
  const raw = new Uint8Array(await body.arrayBuffer());
  return { type, base64: btoa(Array.from(raw, (byte) => String.fromCharCode(byte)).join("")) };
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function curl(url, { type, text, base64, file }, hasKey) {
  const key = hasKey ? ' --header "Authorization: Bearer $WEIR_API_KEY"' : "";
  if (text !== undefined) return `curl${key} --json ${quoted(text)} ${quoted(url)}`;
  const header = ` --header ${quoted(`content-type: ${type}`)}`;
  if (file !== undefined) return `curl${key}${header} --data-binary ${quoted(`@${file}`)} ${quoted(url)}`;
  return `echo ${base64} |\n  base64 --decode |\n  curl${key}${header} --data-binary @- ${quoted(url)}`;
}

/// Returns a value as Python writes it.
function literal(value) {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  if (typeof value === "object") return `{${Object.entries(value).map(([name, item]) => `${escaped(name)}: ${literal(item)}`).join(", ")}}`;
  return typeof value === "string" ? escaped(value) : String(value);
}

/// Returns a text between quotation marks, which Python and JavaScript read alike.
const escaped = (text) => JSON.stringify(text);

function python(url, { type, text, json, base64, file }, hasKey) {
  const key = hasKey ? '"Authorization": f"Bearer {os.environ[\'WEIR_API_KEY\']}"' : "";
  const headers = [json === undefined ? `"content-type": ${escaped(type)}` : "", key].filter(Boolean).join(", ");
  const imports = ["requests", base64 !== undefined && "base64", hasKey && "os"].filter(Boolean).sort().join(", ");
  const body = {
    text: () => (json === undefined ? `data=${escaped(text)}.encode()` : `json=${literal(json)}`),
    file: () => `data=open(${escaped(file)}, "rb")`,
    base64: () => `data=base64.b64decode("${base64}")`,
  };
  const given = text !== undefined ? body.text() : file !== undefined ? body.file() : body.base64();
  const shown = headers ? `\n    headers={${headers}},` : "";
  return `import ${imports}\n\nanswer = requests.post(\n    ${escaped(url)},\n    ${given},${shown}\n)\nprint(answer.json())`;
}

function javascript(url, { type, text, base64, file }, hasKey) {
  const key = hasKey ? ", authorization: `Bearer ${process.env.WEIR_API_KEY}`" : "";
  const read = file === undefined ? "" : `import { readFile } from "node:fs/promises";\n\n`;
  const decoded = `Uint8Array.from(atob("${base64}"), (character) => character.charCodeAt(0))`;
  const body = text !== undefined ? escaped(text) : file !== undefined ? `await readFile(${escaped(file)})` : decoded;
  const headers = `{ "content-type": ${escaped(type)}${key} }`;
  return `${read}const answer = await fetch(${escaped(url)}, {\n  method: "POST",\n  headers: ${headers},\n  body: ${body},\n});\nconsole.log(await answer.json());`;
}
