import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.concurrent.atomic.AtomicInteger;

/** Does with the client of docs/clients what a test says; driver.py lists the commands. */
public class Driver {
  public static void main(String[] arguments) throws Exception {
    TokenServer server = new TokenServer(System.getenv("BASE"), System.getenv("API_KEY"));
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      try {
        answer(server, line.split(" "));
      } catch (IOException error) {
        System.out.println("error: " + error.getMessage());
      }
    }
  }

  private static void answer(TokenServer server, String[] words) throws Exception {
    TokenUse use = new TokenUse(server);
    switch (words[0]) {
      case "token" -> System.out.println(server.token(words[1], words[2]).token());
      case "call" -> {
        HttpClient http = HttpClient.newHttpClient();
        TokenUse.Answer answer = use.withToken(words[1], words[2], token -> {
          HttpRequest request = HttpRequest.newBuilder(URI.create(words[3]))
              .header("Authorization", "Bearer " + token).build();
          HttpResponse<String> reply = http.send(request, HttpResponse.BodyHandlers.ofString());
          return new TokenUse.Answer(reply.statusCode() == 401, reply.body());
        });
        System.out.println(answer.text());
      }
      default -> {
        AtomicInteger left = new AtomicInteger(Integer.parseInt(words[3]));
        use.watch(words[1], words[2], token -> {
          System.out.println(token.generation());
          return left.decrementAndGet() > 0;
        });
      }
    }
  }
}
