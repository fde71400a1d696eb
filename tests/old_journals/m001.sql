-- A journal of 40347e9, killed while it ran; made by make.py.
BEGIN TRANSACTION;
CREATE TABLE "_sqlite_migrations" (
   "id" INTEGER PRIMARY KEY,
   "migration_set" TEXT,
   "name" TEXT,
   "applied_at" TEXT
);
INSERT INTO "_sqlite_migrations" VALUES(1,'journal','m001_events_and_deliveries','2026-12-01 10:41:19.291328+00:00');
CREATE TABLE attempts (
  delivery integer not null references deliveries,
  n        integer not null,
  at       real not null,
  outcome  text not null,
  status   integer,
  error    text,
  took_ms  real not null,
  primary key (delivery, n)
) strict, without rowid;
INSERT INTO "attempts" VALUES(1,1,1.79612167997320675851e+09,'delivered',NULL,NULL,2.047);
INSERT INTO "attempts" VALUES(2,1,1.79612167997327446932e+09,'failed',NULL,'missing',1.839);
INSERT INTO "attempts" VALUES(2,2,1.79612168110600304606e+09,'failed',NULL,'missing',0.426);
INSERT INTO "attempts" VALUES(3,1,1.79612167997330236433e+09,'failed',NULL,'missing',1.728);
INSERT INTO "attempts" VALUES(4,1,1.79612167997335791594e+09,'failed',NULL,'missing',1.789);
INSERT INTO "attempts" VALUES(5,1,1.79612167998417234415e+09,'delivered',NULL,NULL,4.754);
INSERT INTO "attempts" VALUES(6,1,1.79612167998423767093e+09,'failed',NULL,'missing',0.571);
INSERT INTO "attempts" VALUES(6,2,1.79612168103517127037e+09,'failed',NULL,'missing',0.41);
INSERT INTO "attempts" VALUES(7,1,1.79612167998969793313e+09,'delivered',NULL,NULL,2.971);
INSERT INTO "attempts" VALUES(8,1,1.79612167998973703379e+09,'failed',NULL,'missing',0.646);
INSERT INTO "attempts" VALUES(8,2,1.79612168115688705443e+09,'failed',NULL,'missing',0.322);
INSERT INTO "attempts" VALUES(9,1,1.79612167999422955508e+09,'delivered',NULL,NULL,3.458);
INSERT INTO "attempts" VALUES(10,1,1.7961216799942619801e+09,'failed',NULL,'missing',1.554);
INSERT INTO "attempts" VALUES(10,2,1.79612168119808554653e+09,'failed',NULL,'missing',0.259);
INSERT INTO "attempts" VALUES(11,1,1.79612167999999952313e+09,'delivered',NULL,NULL,3.161);
INSERT INTO "attempts" VALUES(12,1,1.79612168000003242489e+09,'failed',NULL,'missing',2.212);
INSERT INTO "attempts" VALUES(12,2,1.79612168101032829287e+09,'failed',NULL,'missing',0.366);
INSERT INTO "attempts" VALUES(13,1,1.79612168000006175039e+09,'failed',NULL,'missing',2.124);
INSERT INTO "attempts" VALUES(14,1,1.79612168000008177752e+09,'failed',NULL,'missing',2.137);
INSERT INTO "attempts" VALUES(15,1,1.79612168000965476038e+09,'delivered',NULL,NULL,3.216);
INSERT INTO "attempts" VALUES(16,1,1.79612168000969123844e+09,'failed',NULL,'missing',0.699);
INSERT INTO "attempts" VALUES(16,2,1.79612168114645218844e+09,'failed',NULL,'missing',0.395);
INSERT INTO "attempts" VALUES(17,1,1.79612168000972414021e+09,'failed',NULL,'missing',0.701);
INSERT INTO "attempts" VALUES(18,1,1.7961216800097434521e+09,'failed',NULL,'missing',0.699);
CREATE TABLE callbacks (
  id      integer primary key autoincrement,
  source  text not null,
  channel text not null,
  token   text not null,
  peer    text not null,
  at      real not null,
  headers text not null,             -- JSON: [[name, value], ...]
  body    blob not null
) strict;
INSERT INTO "callbacks" VALUES(1,'tellabot','callback','7de4f2510d23','127.0.0.1',1.79612167997069311145e+09,'[["accept-encoding", "identity"], ["content-length", "167"], ["host", "127.0.0.1:36949"], ["user-agent", "Python-urllib/3.11"], ["content-type", "application/x-www-form-urlencoded"], ["connection", "close"]]',X'6576656E743D696E636F6D696E675F6D6573736167652669643D31303030303030302670726963653D312E32302674696D657374616D703D313739353030303030302666726F6D3D323230303026746F3D313835303535353031303126736572766963653D476F6F676C65267265706C793D472D3931383237332B69732B796F75722B476F6F676C652B766572696669636174696F6E2B636F64652E2670696E3D393138323733');
INSERT INTO "callbacks" VALUES(2,'tellabot','callback','7de4f2510d23','127.0.0.1',1.79612167997883605957e+09,'[["accept-encoding", "identity"], ["content-length", "214"], ["host", "127.0.0.1:36949"], ["user-agent", "Python-urllib/3.11"], ["content-type", "application/x-www-form-urlencoded"], ["connection", "close"]]',X'6576656E743D696E636F6D696E675F6D6573736167652669643D31303030303030312670726963653D312E32302674696D657374616D703D313739353030303030312666726F6D3D323230303026746F3D313835303535353031303226736572766963653D54656C656772616D267265706C793D2544302539322544302542302544312538382B2544302542412544302542452544302542342533412B3931383237342532432B2544302542442544302542382544302542412544302542452544302542432544312538332670696E3D393138323734');
INSERT INTO "callbacks" VALUES(3,'tellabot','callback','7de4f2510d23','127.0.0.1',1.79612167998770403862e+09,'[["accept-encoding", "identity"], ["content-length", "159"], ["host", "127.0.0.1:36949"], ["user-agent", "Python-urllib/3.11"], ["content-type", "application/x-www-form-urlencoded"], ["connection", "close"]]',X'6576656E743D696E636F6D696E675F6D6573736167652669643D31303030303030322670726963653D312E32302674696D657374616D703D313739353030303030322666726F6D3D323230303026746F3D313835303535353031303326736572766963653D5768617473417070267265706C793D2546302539462539342539312B3931383237352B2546302539462539342539312670696E3D393138323735');
INSERT INTO "callbacks" VALUES(4,'tellabot','callback','7de4f2510d23','127.0.0.1',1.79612167999220895763e+09,'[["accept-encoding", "identity"], ["content-length", "139"], ["host", "127.0.0.1:36949"], ["user-agent", "Python-urllib/3.11"], ["content-type", "application/x-www-form-urlencoded"], ["connection", "close"]]',X'6576656E743D696E636F6D696E675F6D6573736167652669643D31303030303030332670726963653D312E32302674696D657374616D703D313739353030303030332666726F6D3D323230303026746F3D313835303535353031303426736572766963653D44484C267265706C793D596F75722B70617263656C2B6861732B617272697665642670696E3D');
INSERT INTO "callbacks" VALUES(5,'tellabot','callback','7de4f2510d23','127.0.0.1',1796121679.99784,'[["accept-encoding", "identity"], ["content-length", "183"], ["host", "127.0.0.1:36949"], ["user-agent", "Python-urllib/3.11"], ["content-type", "application/x-www-form-urlencoded"], ["connection", "close"]]',X'6576656E743D696E636F6D696E675F6D6573736167652669643D31303030303030342670726963653D312E32302674696D657374616D703D313739353030303030342666726F6D3D323230303026746F3D313835303535353031303126736572766963653D476F6F676C65267265706C793D472D3931383237362B69732B69742533412B6874747073253341253246253246672E6578616D706C6525324676253346632533443931383237362670696E3D393138323736');
INSERT INTO "callbacks" VALUES(6,'smsactivate','callback','9684990b64c1','127.0.0.1',1.79612168000557088855e+09,'[["accept-encoding", "identity"], ["content-length", "137"], ["host", "127.0.0.1:36949"], ["user-agent", "Python-urllib/3.11"], ["content-type", "application/json"], ["connection", "close"]]',X'7B2261637469766174696F6E4964223A203633353436383032342C202273657276696365223A2022676F222C202274657874223A2022393138323737206973206974222C2022636F6465223A2022393138323737222C2022636F756E747279223A20302C202272656365697665644174223A2022323032362D31312D31382031313A32343A3230227D');
CREATE TABLE counters (
  name  text primary key,
  value integer not null
) strict, without rowid;
INSERT INTO "counters" VALUES('deliveries.dead',3);
INSERT INTO "counters" VALUES('deliveries.delivered',6);
INSERT INTO "counters" VALUES('deliveries.expired',3);
INSERT INTO "counters" VALUES('deliveries.pending',6);
INSERT INTO "counters" VALUES('deliveries.sending',0);
INSERT INTO "counters" VALUES('duplicates',1);
INSERT INTO "counters" VALUES('events',6);
INSERT INTO "counters" VALUES('quarantine',2);
CREATE TABLE deliveries (
  id          integer primary key autoincrement,
  event       integer not null references events,
  sink        text not null,         -- a name: what is owed outlives the configuration
  state       text not null,
  attempts    integer not null default 0,
  due_at      real,
  owner       integer references starts,
  accepted_at real not null
) strict;
INSERT INTO "deliveries" VALUES(1,1,'log','delivered',1,NULL,NULL,1.79612167997093892099e+09);
INSERT INTO "deliveries" VALUES(2,1,'later','pending',2,1.79612168444953012461e+09,NULL,1.79612167997093892099e+09);
INSERT INTO "deliveries" VALUES(3,1,'never','dead',1,NULL,NULL,1.79612167997093892099e+09);
INSERT INTO "deliveries" VALUES(4,1,'soon','expired',1,NULL,NULL,1.79612167997093892099e+09);
INSERT INTO "deliveries" VALUES(5,2,'log','delivered',1,NULL,NULL,1.79612167997906208038e+09);
INSERT INTO "deliveries" VALUES(6,2,'later','pending',2,1.79612168463266468044e+09,NULL,1.79612167997906208038e+09);
INSERT INTO "deliveries" VALUES(7,3,'log','delivered',1,NULL,NULL,1.79612167998790407176e+09);
INSERT INTO "deliveries" VALUES(8,3,'later','pending',2,1.79612168462388539311e+09,NULL,1.79612167998790407176e+09);
INSERT INTO "deliveries" VALUES(9,4,'log','delivered',1,NULL,NULL,1.7961216799924230575e+09);
INSERT INTO "deliveries" VALUES(10,4,'later','pending',2,1.79612168424764847762e+09,NULL,1.7961216799924230575e+09);
INSERT INTO "deliveries" VALUES(11,5,'log','delivered',1,NULL,NULL,1.79612167999804210657e+09);
INSERT INTO "deliveries" VALUES(12,5,'later','pending',2,1.79612168441985917089e+09,NULL,1.79612167999804210657e+09);
INSERT INTO "deliveries" VALUES(13,5,'never','dead',1,NULL,NULL,1.79612167999804210657e+09);
INSERT INTO "deliveries" VALUES(14,5,'soon','expired',1,NULL,NULL,1.79612167999804210657e+09);
INSERT INTO "deliveries" VALUES(15,6,'log','delivered',1,NULL,NULL,1.79612168000573801992e+09);
INSERT INTO "deliveries" VALUES(16,6,'later','pending',2,1.79612168458449602127e+09,NULL,1.79612168000573801992e+09);
INSERT INTO "deliveries" VALUES(17,6,'never','dead',1,NULL,NULL,1.79612168000573801992e+09);
INSERT INTO "deliveries" VALUES(18,6,'soon','expired',1,NULL,NULL,1.79612168000573801992e+09);
CREATE TABLE duplicates (
  event   integer not null references events,
  n       integer not null,
  at      real not null,
  channel text not null,
  peer    text not null,
  primary key (event, n)
) strict, without rowid;
INSERT INTO "duplicates" VALUES(1,1,1.7961216800027658939e+09,'callback','127.0.0.1');
CREATE TABLE events (
  seq         integer primary key autoincrement,   -- the order of commits
  id          text not null unique,                -- UUIDv7: grows
  source      text not null,
  type        text not null,
  subject     text not null,
  also        text,                  -- what else it happened to, written like a subject
  recorded_at real not null,
  callback    integer not null references callbacks,
  routes      text not null,         -- JSON: the names of those that matched
  body        text not null          -- the CloudEvent, as it is sent
) strict;
INSERT INTO "events" VALUES(1,'01a23131-d862-7f06-b78f-2fe596c76ee6','tellabot','sms.received','request/10000000',NULL,1.79612167997093892099e+09,1,'["everything", "google"]','{"specversion":"1.0","id":"01a23131-d862-7f06-b78f-2fe596c76ee6","source":"tellabot","type":"sms.received","subject":"request/10000000","time":"2026-11-18T11:06:40Z","recordedtime":"2026-12-01T10:41:19.970939Z","dedupekey":"32904340f2d2ce5d8c2be03988ea68e6f496b56e","datacontenttype":"application/json","data":{"provider":"tellabot","channel":"callback","labels":{"team":"growth"},"reference":null,"sample":false,"time_from":"provider","warnings":[],"to":"+18505550101","from":"22000","country":"US","service":{"id":"Google","name":"Google","key":"google"},"text":"G-918273 is your Google verification code.","code":"918273","urls":[],"price":{"amount":"1.20","currency":null},"request_id":"10000000","activation_id":null,"rental_id":null,"first_rental_id":null,"telephone_id":null,"message_id":null}}');
INSERT INTO "events" VALUES(2,'01a23131-d86b-70fd-8826-4efef5e8392e','tellabot','sms.received','request/10000001',NULL,1.79612167997906208038e+09,2,'["everything"]','{"specversion":"1.0","id":"01a23131-d86b-70fd-8826-4efef5e8392e","source":"tellabot","type":"sms.received","subject":"request/10000001","time":"2026-11-18T11:06:41Z","recordedtime":"2026-12-01T10:41:19.979062Z","dedupekey":"32904341767f6ed8747fc587da874c3f7b8b4613","datacontenttype":"application/json","data":{"provider":"tellabot","channel":"callback","labels":{"team":"growth"},"reference":null,"sample":false,"time_from":"provider","warnings":[],"to":"+18505550102","from":"22000","country":"US","service":{"id":"Telegram","name":"Telegram","key":"telegram"},"text":"Ваш код: 918274, никому","code":"918274","urls":[],"price":{"amount":"1.20","currency":null},"request_id":"10000001","activation_id":null,"rental_id":null,"first_rental_id":null,"telephone_id":null,"message_id":null}}');
INSERT INTO "events" VALUES(3,'01a23131-d873-7e76-a2f4-5f339730a582','tellabot','sms.received','request/10000002',NULL,1.79612167998790407176e+09,3,'["everything"]','{"specversion":"1.0","id":"01a23131-d873-7e76-a2f4-5f339730a582","source":"tellabot","type":"sms.received","subject":"request/10000002","time":"2026-11-18T11:06:42Z","recordedtime":"2026-12-01T10:41:19.987904Z","dedupekey":"32904342a965f9509dd09a5fddf26a07b95bb533","datacontenttype":"application/json","data":{"provider":"tellabot","channel":"callback","labels":{"team":"growth"},"reference":null,"sample":false,"time_from":"provider","warnings":[],"to":"+18505550103","from":"22000","country":"US","service":{"id":"WhatsApp","name":"WhatsApp","key":"whatsapp"},"text":"🔑 918275 🔑","code":"918275","urls":[],"price":{"amount":"1.20","currency":null},"request_id":"10000002","activation_id":null,"rental_id":null,"first_rental_id":null,"telephone_id":null,"message_id":null}}');
INSERT INTO "events" VALUES(4,'01a23131-d878-76c4-9bdb-d694eb0d4158','tellabot','sms.received','request/10000003',NULL,1.7961216799924230575e+09,4,'["everything"]','{"specversion":"1.0","id":"01a23131-d878-76c4-9bdb-d694eb0d4158","source":"tellabot","type":"sms.received","subject":"request/10000003","time":"2026-11-18T11:06:43Z","recordedtime":"2026-12-01T10:41:19.992423Z","dedupekey":"329043433a46ea4396d33918cb05e44abb4699cf","datacontenttype":"application/json","data":{"provider":"tellabot","channel":"callback","labels":{"team":"growth"},"reference":null,"sample":false,"time_from":"provider","warnings":[],"to":"+18505550104","from":"22000","country":"US","service":{"id":"DHL","name":"DHL","key":"dhl"},"text":"Your parcel has arrived","code":null,"urls":[],"price":{"amount":"1.20","currency":null},"request_id":"10000003","activation_id":null,"rental_id":null,"first_rental_id":null,"telephone_id":null,"message_id":null}}');
INSERT INTO "events" VALUES(5,'01a23131-d87e-70ac-8745-76b8bb86c956','tellabot','sms.received','request/10000004',NULL,1.79612167999804210657e+09,5,'["everything", "google"]','{"specversion":"1.0","id":"01a23131-d87e-70ac-8745-76b8bb86c956","source":"tellabot","type":"sms.received","subject":"request/10000004","time":"2026-11-18T11:06:44Z","recordedtime":"2026-12-01T10:41:19.998042Z","dedupekey":"329043440881e4bf566f898729be298fac582445","datacontenttype":"application/json","data":{"provider":"tellabot","channel":"callback","labels":{"team":"growth"},"reference":null,"sample":false,"time_from":"provider","warnings":[],"to":"+18505550101","from":"22000","country":"US","service":{"id":"Google","name":"Google","key":"google"},"text":"G-918276 is it: https://g.example/v?c=918276","code":"918276","urls":["https://g.example/v?c=918276"],"price":{"amount":"1.20","currency":null},"request_id":"10000004","activation_id":null,"rental_id":null,"first_rental_id":null,"telephone_id":null,"message_id":null}}');
INSERT INTO "events" VALUES(6,'01a23131-d885-7bce-bced-73a774037694','smsactivate','sms.received','activation/635468024',NULL,1.79612168000573801992e+09,6,'["everything", "google"]','{"specversion":"1.0","id":"01a23131-d885-7bce-bced-73a774037694","source":"smsactivate","type":"sms.received","subject":"activation/635468024","time":"2026-11-18T08:24:20Z","recordedtime":"2026-12-01T10:41:20.005738Z","dedupekey":"329047649fec8ce34f5bb150bff84f809537c6d3","datacontenttype":"application/json","data":{"provider":"sms_activate","channel":"callback","labels":{},"reference":null,"sample":false,"time_from":"timezone","warnings":[],"to":null,"from":null,"country":"RU","service":{"id":"go","name":"Google,youtube,Gmail","key":"google"},"text":"918277 is it","code":"918277","urls":[],"price":null,"request_id":null,"activation_id":"635468024","rental_id":null,"first_rental_id":null,"telephone_id":null,"message_id":null}}');
CREATE TABLE keys (
  source text not null,
  key    blob not null,
  event  integer not null references events,
  primary key (source, key)
) strict, without rowid;
INSERT INTO "keys" VALUES('smsactivate',X'329047649FEC8CE34F5BB150BFF84F809537C6D3',6);
INSERT INTO "keys" VALUES('tellabot',X'32904340F2D2CE5D8C2BE03988EA68E6F496B56E',1);
INSERT INTO "keys" VALUES('tellabot',X'32904341767F6ED8747FC587DA874C3F7B8B4613',2);
INSERT INTO "keys" VALUES('tellabot',X'32904342A965F9509DD09A5FDDF26A07B95BB533',3);
INSERT INTO "keys" VALUES('tellabot',X'329043433A46EA4396D33918CB05E44ABB4699CF',4);
INSERT INTO "keys" VALUES('tellabot',X'329043440881E4BF566F898729BE298FAC582445',5);
CREATE TABLE meta (
  name  text primary key,
  value text not null
) strict, without rowid;
INSERT INTO "meta" VALUES('identity','18715a0dc1824181ab5f2f730f359e8a');
INSERT INTO "meta" VALUES('seal','03586be375afe06df9eb45e76d87414fdabfc8d7bae2e5b872629e27e35713e3');
CREATE TABLE quarantine (
  seq         integer primary key autoincrement,
  id          text not null unique,
  source      text not null,
  fingerprint blob not null,         -- keyed hash of the body
  reason      text not null,
  detail      text not null,
  token       text not null,
  peer        text not null,
  at          real not null,
  count       integer not null default 1,
  last_at     real not null,
  headers     text not null,
  body        blob not null,
  unique (source, fingerprint)
) strict;
INSERT INTO "quarantine" VALUES(1,'01a23131-d88b-75ef-b433-0754fef63210','tellabot',X'00CA66A3FC5C2CD7B096404C483E56CC','unknown_event','event, status: none that is known here','7de4f2510d23','127.0.0.1',1796121680.01129,1,1796121680.01129,'[["accept-encoding", "identity"], ["content-length", "18"], ["host", "127.0.0.1:36949"], ["user-agent", "Python-urllib/3.11"], ["content-type", "application/json"], ["connection", "close"]]',X'7B2277686174223A2022393138323738227D');
INSERT INTO "quarantine" VALUES(2,'01a23131-d88e-74e5-a909-2dc69d4de0b6','tellabot',X'43F5537D9B3FC17BB226DE839CE58190','unknown_event','event, status: none that is known here','7de4f2510d23','127.0.0.1',1.79612168001426100727e+09,1,1.79612168001426100727e+09,'[["accept-encoding", "identity"], ["content-length", "6"], ["host", "127.0.0.1:36949"], ["user-agent", "Python-urllib/3.11"], ["content-type", "application/json"], ["connection", "close"]]',X'393138323739');
CREATE TABLE rejections (
  seq      integer primary key autoincrement,
  reason   text not null,
  source   text not null,
  peer     text not null,
  count    integer not null,
  first_at real not null,
  last_at  real not null,
  unique (reason, source, peer)
) strict;
INSERT INTO "rejections" VALUES(1,'token','tellabot','127.0.0.1',1,1.79612168001665258414e+09,1.79612168001665258414e+09);
CREATE TABLE starts (
  id      integer primary key,
  at      real not null,
  pid     integer not null,
  version text not null
) strict;
INSERT INTO "starts" VALUES(1,1.79612167927497243876e+09,3692,'0.1.0');
CREATE TABLE token_uses (
  source    text not null,
  token     text not null,
  callbacks integer not null,
  last_at   real not null,
  primary key (source, token)
) strict, without rowid;
INSERT INTO "token_uses" VALUES('smsactivate','9684990b64c1',1,1.79612168000557088855e+09);
INSERT INTO "token_uses" VALUES('tellabot','7de4f2510d23',8,1.79612168001426100727e+09);
CREATE UNIQUE INDEX "idx__sqlite_migrations_migration_set_name"
    ON "_sqlite_migrations" ("migration_set", "name");
CREATE INDEX events_subject on events (subject);
CREATE INDEX events_also on events (also) where also is not null;
CREATE INDEX deliveries_event on deliveries (event);
CREATE INDEX deliveries_due on deliveries (sink, due_at) where state = 'pending';
CREATE INDEX deliveries_taken on deliveries (owner) where state = 'sending';
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('callbacks',6);
INSERT INTO "sqlite_sequence" VALUES('events',6);
INSERT INTO "sqlite_sequence" VALUES('deliveries',18);
INSERT INTO "sqlite_sequence" VALUES('quarantine',2);
INSERT INTO "sqlite_sequence" VALUES('rejections',1);
COMMIT;
