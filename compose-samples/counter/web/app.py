"""Counts visits in Redis and writes each one down in PostgreSQL."""

import os

import flask
import psycopg2
import redis

app = flask.Flask(__name__)
cache = redis.Redis(host=os.environ["REDIS_HOST"])


def journal():
    """A connection to the database, with the table in place."""
    connection = psycopg2.connect(os.environ["DATABASE_URL"])
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS visits (number bigint PRIMARY KEY, seen timestamptz DEFAULT now())")
    return connection


@app.get("/")
def visit():
    number = cache.incr("hits")
    connection = journal()
    with connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO visits (number) VALUES (%s) ON CONFLICT DO NOTHING", (number,))
        cursor.execute("SELECT count(*) FROM visits")
        written = cursor.fetchone()[0]
    connection.close()
    return f"Hello! This page was seen {number} times; {written} visits are on record.\n"


@app.get("/healthz")
def health():
    cache.ping()
    journal().close()
    return "ok\n"


if __name__ == "__main__":
    app.run(host="0.0.0.0", port=5000)
