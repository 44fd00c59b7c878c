import socket, ssl, sys

ALLOWED = {"spiffe://shop.example/ns/shop/sa/web"}

context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile="ca.crt")
context.load_cert_chain("cart.crt", "cart.key")
context.verify_mode = ssl.CERT_REQUIRED                 # the "m" in mTLS

listener = socket.create_server(("127.0.0.1", 8443))
for _ in range(int(sys.argv[1])):
    plain, _ = listener.accept()
    try:
        with context.wrap_socket(plain, server_side=True) as secure:
            names = [v for kind, v in secure.getpeercert()["subjectAltName"] if kind == "URI"]
            allowed = ALLOWED & set(names)
            print(secure.version(), names, "allowed" if allowed else "DENIED", flush=True)
            secure.sendall(b"your cart is empty\n" if allowed else b"403\n")
    except ssl.SSLError as err:
        print("handshake failed:", err.reason, flush=True)
