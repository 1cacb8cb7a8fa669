// The databases that the walks are made on: SQLite, and the server of TEST_MYSQL_URL where there is one.
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'

export type Kind = 'sqlite' | 'mysql'

const given = process.env.TEST_MYSQL_URL

export const DATABASES: Kind[] = given ? ['sqlite', 'mysql'] : ['sqlite']

/** The URL of a new database on the server that was named. */
export function newMysqlDatabase(): string {
  const url = new URL(given ?? '')
  const name = `token_server_test_console_${randomBytes(4).toString('hex')}`
  execFileSync(
    'mariadb',
    ['--no-defaults', '-h', url.hostname, '-P', url.port || '3306', '-u', decodeURIComponent(url.username), '-e', `create database ${name}`],
    { env: { ...process.env, MYSQL_PWD: decodeURIComponent(url.password) } },
  )
  url.pathname = `/${name}`
  return url.toString()
}
