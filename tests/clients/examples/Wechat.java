import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import me.chanjar.weixin.mp.config.impl.WxMpDefaultConfigImpl;

/** Does by the adapter for WxJava what driver.py does by the client: `token` and `call`. */
public class Wechat {
  public static void main(String[] arguments) throws Exception {
    TokenServer server = new TokenServer(System.getenv("BASE"), System.getenv("API_KEY"));
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      String[] words = line.split(" ");
      WxMpDefaultConfigImpl config = new TokenServerConfig(server, words[1], words[2]);
      try {
        System.out.println(words[0].equals("token") ? config.getAccessToken() : ask(config, words[3]));
      } catch (UncheckedIOException error) {
        System.out.println("error: " + error.getCause().getMessage());
      }
    }
  }

  /** What WxJava does for a call. */
  private static String ask(WxMpDefaultConfigImpl config, String url) throws Exception {
    for (boolean again = true; ; again = false) {
      if (config.isAccessTokenExpired()) throw new IllegalStateException("WxJava would ask WeChat");
      HttpRequest request = HttpRequest.newBuilder(URI.create(url))
          .header("Authorization", "Bearer " + config.getAccessToken()).build();
      HttpResponse<String> reply =
          HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
      if (reply.statusCode() != 401 || !again) return reply.body();
      config.expireAccessToken();
    }
  }
}
