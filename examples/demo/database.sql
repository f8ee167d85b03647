-- The parcel company's database: four tables, an application's role, and a witness.
-- Runs once in an empty database, as a superuser; the passwords are set by whoever runs it.

CREATE ROLE shop_owner NOLOGIN;
-- ecluse reads the stream and owns the publication: it needs REPLICATION, CREATE, and the owner's rights.
CREATE ROLE ecluse LOGIN REPLICATION IN ROLE shop_owner;
CREATE ROLE app LOGIN;
DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO ecluse', current_database()); END $$;
GRANT USAGE, CREATE ON SCHEMA public TO shop_owner;
SET ROLE shop_owner;

CREATE TABLE public.customers (
  id           bigint PRIMARY KEY,
  kind         text NOT NULL,
  name         text NOT NULL,
  email        text NOT NULL,
  phone        text,
  street       text NOT NULL,
  postcode     text NOT NULL,
  city         text NOT NULL,
  country      text NOT NULL,
  credit_limit numeric(10, 2),
  newsletter   boolean NOT NULL,
  created_at   timestamptz NOT NULL
);

CREATE TABLE public.parcels (
  tracking       text PRIMARY KEY,                -- UPU S10, with its check digit; a new label is a new key
  customer_id    bigint NOT NULL,
  service        text NOT NULL,
  status         text NOT NULL,
  recipient      text NOT NULL,
  street         text NOT NULL,
  postcode       text NOT NULL,
  city           text NOT NULL,
  country        text NOT NULL,
  weight_kg      numeric(7, 3) NOT NULL,
  declared_value numeric(12, 2),
  insured        boolean NOT NULL,
  promised_on    date,
  posted_at      timestamptz NOT NULL,
  delivered_at   timestamptz
);

CREATE TABLE public.scan_events (
  id         bigint PRIMARY KEY,
  tracking   text NOT NULL,
  depot      text NOT NULL,
  kind       text NOT NULL,
  operator   integer NOT NULL,
  latitude   numeric(9, 6),
  longitude  numeric(9, 6),
  scanned_at timestamptz NOT NULL,
  local_time timestamp NOT NULL,
  remark     text
);

CREATE TABLE public.invoices (
  id          bigint PRIMARY KEY,
  number      text NOT NULL,
  customer_id bigint NOT NULL,
  net         numeric(12, 2) NOT NULL,
  vat_rate    numeric(5, 2) NOT NULL,
  vat         numeric(12, 2) NOT NULL,
  gross       numeric(14, 2) NOT NULL,
  issued_on   date NOT NULL,
  due_on      date NOT NULL,
  paid        boolean NOT NULL,
  paid_at     timestamptz,
  body        text NOT NULL
);
-- Large texts stand outside the row, so an update of another column does not send them ("unchanged").
ALTER TABLE public.invoices ALTER COLUMN body SET STORAGE EXTERNAL;

GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app;
RESET ROLE;

-- The witness: every committed change of scan_events, written by the database itself in the same
-- transaction. It is in no publication; the verdict compares the append table with it.
CREATE SCHEMA witness;
CREATE TABLE witness.scan_changes (
  n     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  op    text NOT NULL,
  id    bigint NOT NULL,
  image jsonb
);

CREATE FUNCTION witness.note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  CASE
    WHEN TG_OP = 'INSERT' THEN
      INSERT INTO witness.scan_changes (op, id, image) VALUES ('c', NEW.id, to_jsonb(NEW));
    WHEN TG_OP = 'DELETE' THEN
      INSERT INTO witness.scan_changes (op, id) VALUES ('d', OLD.id);
    WHEN NEW.id = OLD.id THEN
      INSERT INTO witness.scan_changes (op, id, image) VALUES ('u', NEW.id, to_jsonb(NEW));
    ELSE  -- a key change is a delete of the old key and an insert of the new one
      INSERT INTO witness.scan_changes (op, id, image) VALUES ('d', OLD.id, NULL), ('c', NEW.id, to_jsonb(NEW));
  END CASE;
  RETURN NULL;
END $$;
CREATE TRIGGER witness AFTER INSERT OR UPDATE OR DELETE ON public.scan_events
  FOR EACH ROW EXECUTE FUNCTION witness.note();
-- What is there before anybody captures is read once, as it is: from here on the witness knows that instead.
CREATE PROCEDURE witness.begin() LANGUAGE sql AS $$
  TRUNCATE witness.scan_changes;
  INSERT INTO witness.scan_changes (op, id, image) SELECT 'r', id, to_jsonb(s) FROM public.scan_events s;
$$;
GRANT USAGE ON SCHEMA witness TO app;
GRANT SELECT ON witness.scan_changes TO app;
