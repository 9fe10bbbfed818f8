// SPDX-License-Identifier: MIT
// Client PORT: three requests, and what came back. Java has TLS of its own, and a compiler at run time.
import java.net.URL;
import java.security.MessageDigest;
import java.security.cert.X509Certificate;
import javax.net.ssl.*;

public class Client {
	static void ask(SSLContext context, String port, String method, String path, int length) throws Exception {
		HttpsURLConnection c = (HttpsURLConnection) new URL("https://127.0.0.1:" + port + path).openConnection();
		c.setSSLSocketFactory(context.getSocketFactory());
		c.setHostnameVerifier((host, session) -> true);
		c.setRequestMethod(method);
		if (length > 0) {
			byte[] body = new byte[length];
			java.util.Arrays.fill(body, (byte) 'x');
			c.setDoOutput(true);
			c.getOutputStream().write(body);
		}
		byte[] sum = MessageDigest.getInstance("SHA-256").digest(c.getInputStream().readAllBytes());
		System.out.println(path + " " + new java.math.BigInteger(1, sum).toString(16));
	}

	public static void main(String[] args) throws Exception {
		SSLContext context = SSLContext.getInstance("TLS");
		int x = 1;

		for (int i = 0; i < 20000000; i++)
			x = x * 1103515245 + 12345;
		System.out.println(x);
		context.init(null, new TrustManager[] {new X509TrustManager() {
			public void checkClientTrusted(X509Certificate[] chain, String type) {}
			public void checkServerTrusted(X509Certificate[] chain, String type) {}
			public X509Certificate[] getAcceptedIssuers() { return null; }
		}}, null);
		ask(context, args[0], "GET", "/bytes/5000", 0);
		ask(context, args[0], "POST", "/echo", 30000);
		ask(context, args[0], "GET", "/bytes/100000", 0);
	}
}
