// The server of the walk-through, as everybody writes it once. Arguments: ca, cert and key. Prints its port.
const https = require('https');
const fs = require('fs');
const [ca, cert, key] = process.argv.slice(2).map((file) => fs.readFileSync(file));

const server = https.createServer({ ca, cert, key, requestCert: true, rejectUnauthorized: true }, (request, response) => {
  response.end(`Hello World ${request.socket.getPeerCertificate().subject.CN}\n`);
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.stdin.resume().on('end', () => process.exit(0));
