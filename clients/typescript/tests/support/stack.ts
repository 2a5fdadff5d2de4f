import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { forProfile } from '../../src/index.js';

export const restUrl = needed('SESSIONBASE_REST_URL');
export const jwtSecret = needed('SESSIONBASE_JWT_SECRET');

function needed(name: string): string {
  const value = process.env[name];
  if (!value)
    throw new Error(`Set ${name}; tests/test_typescript.py does, for the tests' own stack`);
  return value;
}

/** A profile that no other test has. */
export function ownProfile(): string {
  return `ts-${randomUUID()}`;
}

/** The modules of a profile that no other test has. */
export function ownModules() {
  return forProfile(ownProfile(), { restUrl, jwtSecret });
}

/**
 * `swallow`: the server does it, but no answer comes back. A number: a gateway answers with it.
 * `no database`: the answer of a PostgREST that has lost PostgreSQL.
 */
export type Fate = 'pass' | 'swallow' | 'refuse' | 'no database' | number;

/** Stands between client and stack: decides what becomes of each request. */
export async function proxy(
  decide: (request: IncomingMessage, number: number) => Fate,
): Promise<{ url: string; seen: string[]; close: () => Promise<void> }> {
  const seen: string[] = [];
  const server: Server = createServer((request, response) => {
    seen.push(`${request.method} ${request.url?.split('?')[0]}`);
    void forward(request, response, decide(request, seen.length));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    seen,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function forward(
  request: IncomingMessage,
  response: ServerResponse,
  fate: Fate,
): Promise<void> {
  if (typeof fate === 'number') {
    response.writeHead(fate).end('<h1>a gateway</h1>');
    return;
  }
  if (fate === 'no database') {
    const body = { code: 'PGRST000', message: 'Database connection error. Retrying the connection.' };
    response.writeHead(503, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    return;
  }
  if (fate === 'refuse') {
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
  const answer = await fetch(restUrl + (request.url ?? ''), init);
  const body = Buffer.from(await answer.arrayBuffer());
  if (fate === 'swallow') {
    // The server did it, but nobody hears of it.
    request.socket.destroy();
    return;
  }
  response.writeHead(answer.status, Object.fromEntries(answer.headers)).end(body);
}
