import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { forProfile } from '../../src/index.js';

export const restUrl = requiredVariable('SESSIONBASE_REST_URL');
export const jwtSecret = requiredVariable('SESSIONBASE_JWT_SECRET');

function requiredVariable(name: string): string {
  const value = process.env[name];
  if (!value) {
    throw new Error(`${name} is not set. Run: pytest -n 1 tests/cli/test_typescript.py`);
  }
  return value;
}

/** Return a profile id that no other test uses. */
export function ownProfile(): string {
  return `ts-${randomUUID()}`;
}

/** Return the modules of a profile that no other test uses. */
export function ownModules() {
  return forProfile(ownProfile(), { restUrl, jwtSecret });
}

/**
 * What the proxy does with a request. `drop response`: the server executes it, and the client gets no
 * response. `drop request`: the server does not get it. A number: the status of a gateway's error page.
 * `{status, code}`: an error of PostgREST with this code, which the client gets instead of the response
 * if the server `executes` the request, else without the server.
 */
export type ProxyAction =
  | 'forward'
  | 'drop response'
  | 'drop request'
  | number
  | { status: number; code: string; executes: boolean };

/** The error of a PostgREST that has no connection to PostgreSQL. */
export const NO_DATABASE: ProxyAction = { status: 503, code: 'PGRST000', executes: false };

/** The error of a PostgREST that lost its connection after the commit, as in tests/stack/test_lost_answers.py. */
export const LOST: ProxyAction = { status: 400, code: '', executes: true };

/** Start an HTTP proxy between the client and the stack; `decide` chooses what happens to each request. */
export async function startProxy(
  decide: (request: IncomingMessage, number: number) => ProxyAction,
): Promise<{ url: string; requests: string[]; close: () => Promise<void> }> {
  const requests: string[] = [];
  const server: Server = createServer((request, response) => {
    requests.push(`${request.method} ${request.url?.split('?')[0]}`);
    void handle(request, response, decide(request, requests.length));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    requests,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function handle(
  request: IncomingMessage,
  response: ServerResponse,
  action: ProxyAction,
): Promise<void> {
  if (typeof action === 'number') {
    response.writeHead(action).end('<h1>a gateway</h1>');
    return;
  }
  const answerWithError = ({ status, code }: { status: number; code: string }) => {
    const body = { code, message: '', details: null, hint: null };
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  };
  if (typeof action === 'object' && !action.executes) {
    answerWithError(action);
    return;
  }
  if (action === 'drop request') {
    request.socket.destroy();
    return;
  }
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const headers = { ...request.headers } as Record<string, string>;
  for (const name of ['host', 'connection', 'content-length', 'transfer-encoding'])
    delete headers[name];
  const init: RequestInit = { method: request.method ?? 'GET', headers };
  if (chunks.length > 0) init.body = Buffer.concat(chunks);
  const upstream = await fetch(restUrl + (request.url ?? ''), init);
  const body = Buffer.from(await upstream.arrayBuffer());
  if (action === 'drop response') {
    request.socket.destroy();
    return;
  }
  if (typeof action === 'object') {
    answerWithError(action);
    return;
  }
  response.writeHead(upstream.status, Object.fromEntries(upstream.headers)).end(body);
}
