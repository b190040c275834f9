// Runs a file of SQL statements on a DuckDB store:
//
//   node duckdb.mjs STORE FILE.sql
//
// The package @duckdb/node-api is looked for in the folder that it runs in.
import { createRequire } from 'node:module'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const [store, file] = process.argv.slice(2)
const { DuckDBInstance } = createRequire(join(process.cwd(), 'package.json'))('@duckdb/node-api')
const instance = await DuckDBInstance.create(store)
const connection = await instance.connect()
const statements = await connection.extractStatements(readFileSync(file, 'utf8'))
for (let i = 0; i < statements.count; i++) {
  await (await statements.prepare(i)).run()
}
connection.closeSync()
instance.closeSync()
